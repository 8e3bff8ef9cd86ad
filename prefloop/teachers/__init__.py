"""Who answers: simulated teachers, and people later."""
