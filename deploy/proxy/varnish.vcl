# Varnish in front of the engine: keeps the public states of sales, and nothing else. It speaks no TLS itself; to buyers
# a terminator stands before it (HAProxy, hitch). Behind it stands the engine in the clear on a network of its own, or
# HAProxy with haproxy.cfg of this folder on the same machine, which adds TLS, the client certificate and HTTP/2.
# What an operator changes is marked EDIT; README.md beside this file says what each part is for. Needs Varnish 6.4.
#
#   varnishd -a :80 -f /etc/varnish/seckill.vcl -s malloc,64m -p http_max_hdr=64 -p http_req_size=12k -p http_req_hdr_len=4k
#
# With these limits a request has at most 12 KiB and some fifty fields; more are refused with 400 before this is read.

vcl 4.1;

import std;

backend engine {
    .host = "10.0.0.11";                                    # EDIT: or 127.0.0.1 and 8081, HAProxy's address for Varnish
    .port = "8080";
    .connect_timeout = 2s;
    # Above the engine's edge.ack_wait_ms: it answers 202 before this is over.
    .first_byte_timeout = 30s;
    .between_bytes_timeout = 10s;
    .max_connections = 4096;
}

sub vcl_recv {
    # Who asks for whose sales: the tenant comes from the name that was asked for, and from nothing else that a client sends.
    set req.http.Host = std.tolower(regsub(req.http.Host, ":[0-9]+$", ""));
    unset req.http.X-Tenant-ID;
    if (req.http.Host == "north.example") {                 # EDIT
        set req.http.X-Tenant-ID = "north";
    } else if (req.http.Host == "south.example") {          # EDIT
        set req.http.X-Tenant-ID = "south";
    } else {
        return (synth(421));
    }
    # No client says who it is but by its token, nor that it came through us.
    unset req.http.X-User-ID;
    unset req.http.X-Origin-Secret;
    # Of its cookies the engine knows the pass of a waiting room.
    if (!req.http.X-Sale-Pass && req.http.Cookie ~ "(^|; *)sale_pass=") {
        set req.http.X-Sale-Pass = regsub(req.http.Cookie, "^(.*; *)?sale_pass=([^;]*).*$", "\2");
    }
    unset req.http.Cookie;
    unset req.http.Forwarded;
    # The client's address as Varnish sees it, not what the client says that others saw. Where a terminator stands before
    # Varnish, start with -a :6086,PROXY and have it send the PROXY header: then this is the buyer's.
    set req.http.X-Forwarded-For = client.ip;
    # One of few words, or nothing: whatever a client writes here would be one more copy in the cache.
    if (req.http.X-Platform !~ "^(ios|miniapp|web)$") {
        unset req.http.X-Platform;
    }

    # The first language of a visitor, if the buyer's page is told in it: one copy each.
    set req.http.Accept-Language = std.tolower(regsub(req.http.Accept-Language, "^\s*([A-Za-z]+).*$", "\1"));
    if (req.http.Accept-Language !~ "^(de|en|es|fr|zh)$") {
        unset req.http.Accept-Language;
    }

    if (req.url !~ "^/(seckill/|(orders|problems)(/|\?|$)|openapi\.json(\?|$))") {
        return (synth(404));
    }
    # The state of a sale and of its waiting room is the same for everybody: no token, no query that would be one more copy. What the engine
    # names in Vary, Varnish compares by itself, as it stands now.
    if ((req.method == "GET" || req.method == "HEAD") && req.url ~ "^/seckill/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(/queue)?(\?|$)") {
        set req.url = regsub(req.url, "\?.*$", "");
        unset req.http.Authorization;
        return (hash);
    }
    # The buyer's page (edge.page) of everybody, its style and its script likewise; never its forms, nor what is one buyer's (/page/mine).
    if ((req.method == "GET" || req.method == "HEAD") && req.url ~ "^/seckill/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/page(/[A-Za-z0-9-]+\.(css|js))?(\?|$)") {
        set req.url = regsub(req.url, "\?.*$", "");
        unset req.http.Authorization;
        unset req.http.X-Sale-Pass;
        return (hash);
    }
    # Everything else is one buyer's. Nothing is piped: what follows a request on its connection is looked at as well.
    return (pass);
}

sub vcl_backend_fetch {
    set bereq.http.X-Origin-Secret = regsub(std.fileread("/etc/varnish/seckill-origin-secret"), "\s+$", "");
    # Varnish sends a request without a body once more when a kept connection breaks before the answer begins, and a
    # purchase has no body. The engine may have sold by then. So no connection is kept: without a second use there is no
    # second sending. (Behind HAProxy on the same machine that costs little, and HAProxy keeps its own to the engine.)
    set bereq.http.Connection = "close";
    return (fetch);
}

sub vcl_backend_response {
    # The engine says of every answer how long it may be kept. What says nothing is not the engine's.
    if (!beresp.http.Cache-Control) {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        return (deliver);
    }
    # The built-in rules follow: s-maxage is how long it is kept, stale-while-revalidate how long an old one is shown while one
    # request asks, and no-store is not kept.
}

sub vcl_backend_error {
    set beresp.status = 503;
    set beresp.http.Content-Type = "text/plain; charset=utf-8";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "2";
    synthetic("The engine does not answer.");
    return (deliver);
}

sub vcl_synth {
    set resp.http.Content-Type = "text/plain; charset=utf-8";
    set resp.http.Cache-Control = "no-store";
    if (resp.status == 421) {
        synthetic("No shop has this name.");
    } else {
        synthetic("There is nothing at this path.");
    }
    return (deliver);
}

sub vcl_deliver {
    unset resp.http.X-Varnish;
    unset resp.http.Via;
}
