"""Statistics against closed forms, independent libraries and simulation."""
