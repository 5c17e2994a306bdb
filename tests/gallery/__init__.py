"""Plots of hard cases, and a check that their texts neither overlap nor are cut off."""
