-- Version 5: how far each node's order numbers are settled. Never change a released file.

-- No order of this node with a number up to this one becomes durable any more. NULL where none ever will: the node has
-- left, or its life was ended. Who begins a life begins with the highest number that is durable by then.
ALTER TABLE nodes ADD COLUMN settled_through bigint;
