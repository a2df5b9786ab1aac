"""The experiments of the pages that take a part out."""
