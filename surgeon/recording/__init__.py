"""The attention of any model, recorded while it runs, and cut."""
