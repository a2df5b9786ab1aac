"""What pages say and show: claims, source, figures, instruments."""
