"""Where a federation runs, and the one way to run it: `fltac.runtime.launch`."""
