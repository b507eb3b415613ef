//! From method and path to what is asked for.

/// What a request asks for. The names in it are as they came: looking them up is what checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `POST /seckill/{campaign}/{sku}`
    Purchase {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
    },
    /// `GET /seckill/{campaign}/{sku}`
    SaleState {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
    },
    /// `POST /seckill/{campaign}/{sku}/queue`
    Register {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
    },
    /// `GET /seckill/{campaign}/{sku}/queue`
    RoomState {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
    },
    /// `GET /seckill/{campaign}/{sku}/page`
    BuyerPage {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
    },
    /// `POST /seckill/{campaign}/{sku}/page`
    BuyerForm {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
    },
    /// `GET /seckill/{campaign}/{sku}/page/mine`
    OwnPage {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
    },
    /// `GET /seckill/{campaign}/{sku}/page/{part}`
    PagePart {
        /// The campaign.
        campaign: &'a str,
        /// The stock-keeping unit.
        sku: &'a str,
        /// The name of what the page is made of.
        part: &'a str,
    },
    /// `GET /orders`
    Orders,
    /// `GET /orders/{id}`
    Order {
        /// The order's number.
        id: &'a str,
    },
    /// `DELETE /orders/{id}`
    Cancel {
        /// The order's number.
        id: &'a str,
    },
    /// `POST /orders/{id}/checkout`
    Checkout {
        /// The order's number.
        id: &'a str,
    },
    /// `GET /openapi.json`
    Description,
    /// `GET /problems`
    Problems,
    /// `GET /problems/{code}`
    Problem {
        /// The code.
        code: &'a str,
    },
}

/// Why there is nothing behind a method and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No such path.
    UnknownPath,
    /// The path is known, the method is not; the methods that are.
    MethodNotAllowed {
        /// For the `Allow` field.
        allow: &'static str,
    },
}

impl<'a> Route<'a> {
    /// Finds the route. `HEAD` is `GET` without the body, which the front end leaves out.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn find(method: &str, path: &'a str) -> Result<Self, NoRoute> {
        let mut parts = path.strip_prefix('/').ok_or(NoRoute::UnknownPath)?.split('/');
        let place = [(); 6].map(|()| parts.next());
        match place {
            [Some("seckill"), Some(campaign), Some(sku), None, None, None] => match method {
                "POST" => Ok(Self::Purchase { campaign, sku }),
                "GET" | "HEAD" => Ok(Self::SaleState { campaign, sku }),
                _ => Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD, POST" }),
            },
            [Some("seckill"), Some(campaign), Some(sku), Some("queue"), None, None] => match method {
                "POST" => Ok(Self::Register { campaign, sku }),
                "GET" | "HEAD" => Ok(Self::RoomState { campaign, sku }),
                _ => Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD, POST" }),
            },
            [Some("seckill"), Some(campaign), Some(sku), Some("page"), None, None] => match method {
                "POST" => Ok(Self::BuyerForm { campaign, sku }),
                "GET" | "HEAD" => Ok(Self::BuyerPage { campaign, sku }),
                _ => Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD, POST" }),
            },
            [Some("seckill"), Some(campaign), Some(sku), Some("page"), Some(part), None] => match method {
                "GET" | "HEAD" if part == "mine" => Ok(Self::OwnPage { campaign, sku }),
                "GET" | "HEAD" => Ok(Self::PagePart { campaign, sku, part }),
                _ => Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD" }),
            },
            [Some("orders"), None, None, None, None, None] => looked_at(method, Self::Orders),
            [Some("orders"), Some(id), None, None, None, None] => match method {
                "GET" | "HEAD" => Ok(Self::Order { id }),
                "DELETE" => Ok(Self::Cancel { id }),
                _ => Err(NoRoute::MethodNotAllowed { allow: "DELETE, GET, HEAD" }),
            },
            [Some("orders"), Some(id), Some("checkout"), None, None, None] => match method {
                "POST" => Ok(Self::Checkout { id }),
                _ => Err(NoRoute::MethodNotAllowed { allow: "POST" }),
            },
            [Some("openapi.json"), None, None, None, None, None] => looked_at(method, Self::Description),
            [Some("problems"), None, None, None, None, None] => looked_at(method, Self::Problems),
            [Some("problems"), Some(code), None, None, None, None] => {
                looked_at(method, Self::Problem { code })
            }
            _ => Err(NoRoute::UnknownPath),
        }
    }
}

/// The route of what is only looked at.
fn looked_at<'a>(method: &str, route: Route<'a>) -> Result<Route<'a>, NoRoute> {
    match method {
        "GET" | "HEAD" => Ok(route),
        _ => Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routes_of_the_contract() {
        for (method, path, route) in [
            ("POST", "/seckill/11.11/phone", Route::Purchase { campaign: "11.11", sku: "phone" }),
            ("GET", "/seckill/11.11/phone", Route::SaleState { campaign: "11.11", sku: "phone" }),
            ("POST", "/seckill/a/b/queue", Route::Register { campaign: "a", sku: "b" }),
            ("GET", "/seckill/a/b/queue", Route::RoomState { campaign: "a", sku: "b" }),
            ("HEAD", "/seckill/a/queue", Route::SaleState { campaign: "a", sku: "queue" }),
            ("GET", "/seckill/a/b/page", Route::BuyerPage { campaign: "a", sku: "b" }),
            ("POST", "/seckill/a/b/page", Route::BuyerForm { campaign: "a", sku: "b" }),
            ("GET", "/seckill/a/b/page/mine", Route::OwnPage { campaign: "a", sku: "b" }),
            ("GET", "/seckill/a/b/page/x.js", Route::PagePart { campaign: "a", sku: "b", part: "x.js" }),
            ("GET", "/seckill/page/page/page", Route::BuyerPage { campaign: "page", sku: "page" }),
            ("GET", "/orders", Route::Orders),
            ("GET", "/orders/abc", Route::Order { id: "abc" }),
            ("HEAD", "/orders/abc", Route::Order { id: "abc" }),
            ("DELETE", "/orders/abc", Route::Cancel { id: "abc" }),
            ("POST", "/orders/abc/checkout", Route::Checkout { id: "abc" }),
            ("GET", "/openapi.json", Route::Description),
            ("GET", "/problems", Route::Problems),
            ("HEAD", "/problems/sold-out", Route::Problem { code: "sold-out" }),
        ] {
            assert_eq!(Route::find(method, path), Ok(route));
        }
    }

    #[test]
    fn paths_that_only_look_alike_are_unknown() {
        for path in [
            "",
            "/",
            "*",
            "/seckill",
            "/seckill/a",
            "/seckill/a/b/",
            "/seckill/a/b/c",
            "/seckill/a/b/queue/",
            "/seckill/a/b/page/mine/c",
            "//seckill/a/b",
        ] {
            assert_eq!(Route::find("GET", path), Err(NoRoute::UnknownPath), "{path}");
        }
        for path in [
            "/openapi",
            "/openapi.json/",
            "/problems/a/b",
            "/orders/a/pay",
            "/orders/a/checkout/b",
            "/Orders/a",
            "seckill/a/b",
        ] {
            assert_eq!(Route::find("GET", path), Err(NoRoute::UnknownPath), "{path}");
        }
    }

    #[test]
    fn a_known_path_names_its_methods() {
        for (path, allow) in [
            ("/seckill/a/b", "GET, HEAD, POST"),
            ("/seckill/a/b/page", "GET, HEAD, POST"),
            ("/seckill/a/b/page/mine", "GET, HEAD"),
            ("/orders", "GET, HEAD"),
            ("/orders/a", "DELETE, GET, HEAD"),
            ("/orders/a/checkout", "POST"),
            ("/openapi.json", "GET, HEAD"),
            ("/problems/a", "GET, HEAD"),
        ] {
            for method in ["PATCH", "post", "CONNECT", ""] {
                assert_eq!(Route::find(method, path), Err(NoRoute::MethodNotAllowed { allow }));
            }
        }
    }
}
