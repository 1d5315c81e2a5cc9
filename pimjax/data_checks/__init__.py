"""Looking at data before it is used: checks, and pictures of what training will see."""
