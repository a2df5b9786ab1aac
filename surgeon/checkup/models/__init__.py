"""A check-up for whole models: tokens in, logits or hidden states out."""
