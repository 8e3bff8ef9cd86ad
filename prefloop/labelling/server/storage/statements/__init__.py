"""The statements of the store that run with every query and answer, built once.

To build one takes longer than to run it. What differs from call to call is a parameter, named here
in `bindparam`; those of updates begin with `this_` and those of inserts with `new_`, since what has a column's
name is taken for a value of it.

    asking     which queries somebody may be asked, and how many are left
    leasing    leases: what a page shows, and what is still somebody's
    answering  what was said, and what is stored of it
    studying   whose link it is, what they have seen, and what they have still to answer
    parts      what these have in common
"""
