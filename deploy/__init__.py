"""What it takes to run the system elsewhere than in a shell."""
