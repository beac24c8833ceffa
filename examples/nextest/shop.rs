//! Sixteen tests that sign in at a site with four accounts. cargo-nextest runs each in a process of its own, and all at
//! once; the service is what they have in common.
//!
//! ```sh
//! botfarm serve --bots examples/bots.csv &
//! python3 examples/site/site.py &
//! export BOTFARM_URL=http://127.0.0.1:8000
//! cargo nextest run --all-features --test nextest --test-threads 16
//! ACCOUNTS=by-chance cargo nextest run --all-features --test nextest --test-threads 16
//! ```

use std::{env, error::Error, fs, time::Duration};

use botfarm::{BotFarmExt, LeaseRequest, Selector};
use reqwest::{Client, Method, StatusCode, Url, header};

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// One test: waits for an account, and gives it back at its end, however it ends. It fails when the account was taken
/// away before that.
async fn test(name: &str) -> Result {
    if env::var("ACCOUNTS").is_ok_and(|accounts| accounts == "by-chance") {
        let (login, password) = any_account()?;
        return browse(&login, &password).await;
    }
    let farm = botfarm::connect_from_env().await?;
    let request = LeaseRequest::new(name.parse()?, Selector::any()).wait(Duration::from_mins(2));
    farm.with_lease(request, async |lease| {
        let account = lease.bot();
        browse(&account.bot.login, account.password.expose()).await
    })
    .await
}

macro_rules! tests {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            test(stringify!($name)).await.unwrap_or_else(|error| panic!("{error}"));
        }
    )*};
}

tests! {
    basket_keeps_its_goods
    basket_takes_goods
    checkout_asks_for_an_address
    checkout_gives_a_receipt
    coupon_is_taken_once
    gift_is_wrapped
    invoice_has_the_tax
    newsletter_is_left
    order_is_cancelled
    order_is_found_again
    order_is_sent_back
    profile_shows_the_name
    search_finds_by_brand
    search_finds_by_price
    voucher_runs_out
    wish_is_remembered
}

/// Signs in, looks around, and signs out.
async fn browse(login: &str, password: &str) -> Result {
    let site = env::var("SITE_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    // The site speaks plain HTTP: no certificates are needed.
    let browser = Client::builder().no_proxy().tls_certs_only([]).build()?;
    let form = Url::parse_with_params(&format!("{site}/login"), [("login", login), ("password", password)])?;
    let answer = browser
        .post(format!("{site}/login"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned())
        .send()
        .await?;
    let (status, cookie) = (answer.status(), answer.headers().get(header::SET_COOKIE).cloned());
    let page = answer.text().await?;
    if status != StatusCode::OK {
        return Err(format!("{login} cannot sign in: {status}: {page}").into());
    }
    let cookie = cookie.ok_or("the site gave no cookie")?;
    let cookie = cookie.to_str()?.split(';').next().unwrap_or_default();
    let visit = async |method, path: &str| {
        let request = browser.request(method, format!("{site}{path}")).header(header::COOKIE, cookie);
        request.send().await?.error_for_status()?.text().await
    };
    for _ in 0..5 {
        // As long as it takes to look at a page.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let me: serde_json::Value = serde_json::from_str(&visit(Method::GET, "/me").await?)?;
        assert_eq!(me["login"], login, "somebody else is signed in");
    }
    visit(Method::POST, "/logout").await?;
    Ok(())
}

/// What a suite without botfarm would do: any account of the list, whoever else has it.
fn any_account() -> Result<(String, String)> {
    // What `connect` does otherwise.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let list = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bots.csv"))?;
    let rows: Vec<Vec<_>> = list.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let row = fastrand::choice(&rows).ok_or("the list is empty")?;
    Ok((row[0].to_owned(), row[1].to_owned()))
}
