"""What could keep a peer from living here, found before it is started: what was seen, and what to do about it.

Each module has one subject: a record of what was seen, `look...`, which gathers it and changes nothing, and `judge...`,
a pure function from the record to findings.
"""
