"""`beacon plan`: preview the effect of a configuration on a cluster, without changing anything.

`model` and `rendering` are pure; only `scan` may import `beacon.cluster` (through `cluster_client`), and it is loaded
when the command runs. Start reading at `command`.
"""
