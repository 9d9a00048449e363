"""Judging: which finding is told, in which lane, with which score.

Start with :mod:`detector.judging.judge`.
"""
