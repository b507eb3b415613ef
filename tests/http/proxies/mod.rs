//! The recipes of `deploy/proxy`, each in front of a real engine: what they promise operators, they do.

mod broken_engine;
mod buyers;
mod cached;
mod closed;
mod page;
mod shop;

use shop::Kind;

/// Runs each check behind each of the recipes.
macro_rules! behind_each {
    ($($room:ident::$check:ident),* $(,)?) => {
        behind_each!(@nginx Nginx $($room::$check),*);
        behind_each!(@haproxy Haproxy $($room::$check),*);
        behind_each!(@varnish Varnish $($room::$check),*);
        behind_each!(@varnish_and_haproxy VarnishAndHaproxy $($room::$check),*);
    };
    (@$proxy:ident $kind:ident $($room:ident::$check:ident),*) => {
        mod $proxy {
            $(#[test] fn $check() { super::$room::$check(super::Kind::$kind) })*
        }
    };
}

behind_each! {
    buyers::purchases_pass,
    buyers::no_answer_reaches_another_buyer,
    buyers::no_answer_reaches_another_tenant,
    buyers::an_absolute_target_means_its_host,
    buyers::a_flood_of_header_fields_ends_at_the_proxy,
    cached::the_state_is_kept_as_the_engine_says,
    cached::a_copy_a_platform_and_none_for_whatever_clients_write,
    page::the_page_of_everybody_is_kept_and_a_buyers_own_never,
    closed::the_origin_is_closed_to_everybody_else,
    closed::connections_to_the_engine_are_kept_where_they_may_be,
    broken_engine::a_purchase_whose_answer_is_lost_is_not_sent_again,
    broken_engine::an_engine_that_is_killed_sells_nothing_twice,
}
