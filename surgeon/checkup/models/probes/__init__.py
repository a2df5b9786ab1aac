"""The laws of whole models, a company of them a file."""
