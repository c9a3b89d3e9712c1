"""What everything else is checked against: an exact oracle that sees specs alone, and the plans' interpreter."""
