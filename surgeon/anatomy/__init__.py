"""The parts of attention: softmax, masks, the dot product, heads, a cache."""
