"""A caller inside the network, in another language: what it is told has to be what the pages say.

    client.py calls ADDRESS TOKEN               every call and every way to be refused
    client.py follow ADDRESS TOKEN COUNT        prints so many new orders, going on wherever the stream ends
    client.py tls ADDRESS CA [CERTIFICATE KEY]  asks whether the engine is healthy
"""

import sys
import time

import grpc
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from seckill.v1 import seckill_pb2 as messages
from seckill.v1 import seckill_pb2_grpc as services

Code = grpc.StatusCode
# Longer than anything takes that does not hang.
PATIENCE_S = 120
PROTO = "seckill/v1/seckill.proto"


def refused(call, code, reason):
    """The call's refusal, which has to have this status and this reason: its members."""
    try:
        answer = call()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        if reason is None:
            return {}
        status = rpc_status.from_call(error)
        info = error_details_pb2.ErrorInfo()
        found = [detail for detail in status.details if detail.Is(info.DESCRIPTOR)]
        assert len(found) == 1, status
        found[0].Unpack(info)
        assert (info.reason, info.domain) == (reason, "seckill"), info
        assert info.metadata["code"] == reason.lower().replace("_", "-"), info
        return dict(info.metadata)
    raise AssertionError(f"not refused: {answer}")


def calls(address, token):
    with grpc.insecure_channel(address) as channel:
        shop = services.SeckillStub(channel)
        described(channel)
        buying(shop)
        paying(shop)
        watching(channel, shop, token)


def described(channel):
    """Reflection tells of the services, and of this one exactly what another compiler makes of its file."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "seckill.v1.Seckill" in database.get_services(), database.get_services()
    assert "grpc.health.v1.Health" in database.get_services(), database.get_services()
    own = descriptor_pb2.FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(own)
    assert plain(database.FindFileByName(PROTO)) == plain(own), "generate proto/generated anew"


def plain(file):
    """Without what compilers may leave out."""
    file.ClearField("source_code_info")
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return file


def buying(shop):
    ann = (("x-user-id", "ann"), ("x-request-id", "request-1"))
    few = dict(campaign="test", sku="few")
    sale = shop.GetSale(messages.GetSaleRequest(**few), timeout=PATIENCE_S)
    assert (sale.state, sale.remaining, sale.price_cents) == (messages.SALE_STATE_OPEN, 1, 1999), sale
    assert sale.starts_at.seconds > 0 and not sale.HasField("ends_at"), sale

    key = messages.PurchaseRequest(**few, idempotency_key="k1")
    members = refused(lambda: shop.Purchase(key), Code.UNAUTHENTICATED, "UNAUTHORIZED")
    assert members["instance"], members
    bought = shop.Purchase(key, metadata=ann, timeout=PATIENCE_S)
    assert bought.status == messages.ORDER_STATUS_PRE_PAY and not bought.replayed, bought
    order = bought.order
    assert (order.order_id, order.buyer, order.quantity, order.amount_cents) == (bought.order_id, "ann", 1, 1999)
    assert order.created_at.seconds <= order.pay_before.seconds and not order.HasField("paid_at"), order
    again = shop.Purchase(key, metadata=ann, timeout=PATIENCE_S)
    assert again.replayed and again.order == order, again

    other = messages.PurchaseRequest(**few)
    members = refused(lambda: shop.Purchase(other, metadata=ann), Code.ALREADY_EXISTS, "ALREADY_PURCHASED")
    assert members["order_id"] == order.order_id and members["instance"] == "request-1", members
    bob = (("x-user-id", "bob"),)
    refused(lambda: shop.Purchase(other, metadata=bob), Code.FAILED_PRECONDITION, "SOLD_OUT")
    assert shop.GetSale(messages.GetSaleRequest(**few)).state == messages.SALE_STATE_SOLD_OUT

    none = messages.PurchaseRequest(campaign="test", sku="many", quantity=0)
    refused(lambda: shop.Purchase(none, metadata=bob), Code.INVALID_ARGUMENT, "QUANTITY_NOT_ALLOWED")
    for sku in ["none", "few/queue", "../few"]:
        unknown = messages.PurchaseRequest(campaign="test", sku=sku)
        refused(lambda: shop.Purchase(unknown, metadata=bob), Code.NOT_FOUND, "UNKNOWN_SALE")
    long = messages.PurchaseRequest(campaign="test", sku="many", sale_pass="p" * 20_000)
    refused(lambda: shop.Purchase(long, metadata=bob), Code.OUT_OF_RANGE, None)


def paying(shop):
    ann, bob = (("x-user-id", "ann"),), (("x-user-id", "bob"),)
    bought = shop.Purchase(messages.PurchaseRequest(campaign="test", sku="many"), metadata=ann)
    look = messages.GetOrderRequest(order_id=bought.order_id)
    refused(lambda: shop.GetOrder(look, metadata=bob), Code.NOT_FOUND, "UNKNOWN_ORDER")
    nonsense = messages.GetOrderRequest(order_id="1/checkout")
    refused(lambda: shop.GetOrder(nonsense, metadata=ann), Code.NOT_FOUND, "UNKNOWN_ORDER")
    assert shop.GetOrder(look, metadata=ann).order == bought.order

    pay = messages.CheckoutRequest(order_id=bought.order_id, payment_method="card")
    until = time.monotonic() + PATIENCE_S
    while (paid := shop.Checkout(pay, metadata=ann)).order.status != messages.ORDER_STATUS_PAID:
        # Not known yet: it says when to ask again.
        assert paid.order.status == messages.ORDER_STATUS_PAYING and time.monotonic() < until, paid
        time.sleep(paid.retry_after.seconds)
    assert paid.order.HasField("paid_at"), paid
    assert shop.GetOrder(look, metadata=ann).order == paid.order
    assert shop.Checkout(pay, metadata=ann).order == paid.order, "a repeat answers the same"


def watching(channel, shop, token):
    health = health_pb2_grpc.HealthStub(channel)
    for service in ["", "seckill.v1.Seckill"]:
        told = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert told.status == health_pb2.HealthCheckResponse.SERVING, told

    follow = messages.FollowEventsRequest(campaign="test", sku="many")
    for metadata in [None, (("authorization", "Bearer wrong"),)]:
        stream = shop.FollowEvents(follow, metadata=metadata)
        refused(lambda: next(stream), Code.UNAUTHENTICATED, "UNAUTHORIZED")
    operator = (("authorization", f"Bearer {token}"),)
    foreign = operator + (("x-tenant-id", "other"),)
    # A token of all tenants sees any: of this one nothing, and how far that is.
    first = shop.FollowEvents(messages.FollowEventsRequest(), metadata=foreign, timeout=PATIENCE_S)
    seen = next(first)
    assert not seen.HasField("event") and seen.seq > 0, seen
    second = shop.FollowEvents(follow, metadata=operator, timeout=PATIENCE_S)
    types = [next(second).event.type for _ in range(2)]
    assert types == ["order.created", "order.paid"], types
    # There are places for two.
    third = shop.FollowEvents(follow, metadata=operator)
    refused(lambda: next(third), Code.UNAVAILABLE, "OVERLOADED")
    first.cancel()
    second.cancel()


def follow(address, token, count):
    """Prints who has a new order; a stream that ends is followed by another one from the last seq on."""
    after, count, until = 0, int(count), time.monotonic() + PATIENCE_S
    while count > 0:
        assert time.monotonic() < until, "the events do not come"
        with grpc.insecure_channel(address) as channel:
            wanted = messages.FollowEventsRequest(after=after)
            metadata = (("authorization", f"Bearer {token}"),)
            try:
                for message in services.SeckillStub(channel).FollowEvents(wanted, metadata=metadata):
                    assert message.seq > after, (message, after)
                    after = message.seq
                    # Deadlines that a start moves have events of their own.
                    if message.event.type == "order.created":
                        print(message.event.buyer, flush=True)
                        count -= 1
                        if count == 0:
                            break
            except grpc.RpcError as error:
                assert error.code() == Code.UNAVAILABLE, error
                print("#", error.details(), flush=True)
                time.sleep(0.1)


def tls(address, authority, certificate=None, key=None):
    read = lambda path: path and open(path, "rb").read()
    credentials = grpc.ssl_channel_credentials(read(authority), read(key), read(certificate))
    # The certificate is for the name, and the address a number.
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(address, credentials, options) as channel:
        request = health_pb2.HealthCheckRequest()
        told = health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE_S)
        assert told.status == health_pb2.HealthCheckResponse.SERVING, told


if __name__ == "__main__":
    {"calls": calls, "follow": follow, "tls": tls}[sys.argv[1]](*sys.argv[2:])
