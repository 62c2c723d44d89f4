"""The public relay: it shows the world how machines and targets stand, and reaches nothing.

A gateway (the process of the role ``api``) connects out to it and hands it what may be seen; browsers read. It has no
database and no settings but its own, and loads no other room than ``lib``: it runs alone on a small server.
"""
