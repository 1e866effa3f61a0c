"""What firmware is built from: headers and projects."""
