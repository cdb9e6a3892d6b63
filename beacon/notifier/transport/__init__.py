"""Sends HTTP requests to an endpoint, each within a total deadline, and returns one answer for each request.

It knows nothing about events, deliveries and retries. Start reading at `http_sender.HttpSender.send`. `connector` opens
connections in threads; everything else runs in the thread of `event_loop`.
"""
