"""What is trained or dissected, and the texts it reads."""
