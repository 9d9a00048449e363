"""The streaming detector and the hourly search over the same captures, shell by shell.

    captures --+--> detector --> sessions -----------------+--> shells, and why --> table, JSON, page
               `--> points --> runs of the search --> rows --'

The judge is left out: profiles, policies, bursts and budgets decide where an opening is told, and every one
of them is accounted for there. What is compared is which shells are found, when, and with which averages.
"""
