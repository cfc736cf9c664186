"""From run directories to one HTML page: reads files only, so that a run can be looked at anywhere and at any time."""
