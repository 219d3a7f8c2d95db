"""The life of a peer. The way of the data, in the order in which to read it:

training      iteration after iteration: local update, then aggregation
distilling    before it, in the first K: learning from group-mates (`teaching`, `hearing`)
iterations    one aggregation: for every axis of the grid key -> group -> exchange -> average -> next axis
placements    how peers meet: on a grid (`groups`), or by hash (`hashed_placement`, `announcements`)
rounds        matchmaking and exchange on the wire: carries out what `protocol.iteration` decides
transfer      one exchange: parts in, sums, results out

Around it: `entrance` (getting in), `roster` (who belongs), `prober`, `reunion`, `parts` (finding lost parts), `states`,
`catchup`, `fetching` (for who is late), `keeper`, `saving`, `store`, `resuming` (on disk), `privacy`, `aggregator` and
`switchboard` (messages), `assembly` and `peer` (the whole), `canvass` and `doctor/` (from outside).
"""
