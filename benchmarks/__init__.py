"""Speed and memory of attention in this package against PyTorch's: `make bench`."""
