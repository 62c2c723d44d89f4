"""The one door through which samples are written.

Ticks of many machines go in; in one transaction they are checked, their counters made into rates, stored, the newest
state moved forward, and the machines judged. Knows no wire and no loop; whoever has ticks calls ``Intake.write``.
"""
