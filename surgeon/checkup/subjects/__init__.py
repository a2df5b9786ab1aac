"""How anyone's attention is held, so that it can be asked."""
