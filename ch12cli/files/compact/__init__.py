"""The compact record of a sweep: one file for each stack, in place of a directory for each job."""
