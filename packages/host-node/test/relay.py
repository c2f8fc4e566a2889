# A relay of Ethernet frames over WebSockets: what one client sends in a binary message, all others get.
import asyncio, websockets

clients = set()

async def serve(client, path=None):
    clients.add(client)
    try:
        async for message in client:
            if isinstance(message, bytes):
                websockets.broadcast(clients - {client}, message)
    except websockets.ConnectionClosed:
        pass
    finally:
        clients.discard(client)

async def main():
    async with websockets.serve(serve, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
