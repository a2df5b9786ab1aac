"""What judges answers to the book's exercises, a module for each part."""
