"""What the pages say together: the package, who uses it, the claims, how the book was built."""
