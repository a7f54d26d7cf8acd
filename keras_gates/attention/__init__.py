"""What a cell looks at while it steps."""
