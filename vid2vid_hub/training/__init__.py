"""Training: what (recipe), when (schedule), where it is kept (checkpoint), and eq. 5 as a loop (trainer)."""
