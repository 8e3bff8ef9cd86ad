"""What people are asked and what they say, in a database that loses nothing."""
