"""Trajectories and how they are collected."""
