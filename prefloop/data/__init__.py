"""Episodes, segments and preferences: how they are collected, and how they are kept."""
