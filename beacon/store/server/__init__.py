"""The server: the loop of the process, its transactions, its metrics, and the watch over free space.

Start reading at `service.StoreService.process`.
"""
