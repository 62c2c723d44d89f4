"""REST, the live WebSocket, sign-in and limits: what people and programs ask, answered from the store."""
