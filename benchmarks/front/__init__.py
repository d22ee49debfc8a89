"""What a request costs in the front, beside the floors of asyncio and uvloop."""
