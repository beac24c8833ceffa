//! What names its bot, is sticky, or wants several, next to "any".

use botfarm::{Env, LeaseRequest, Login, PostgresFarm, ProjectId, Selector};

use crate::{Result, TIME, ask, fill, holder, median, pairs, tidy};

const BOTS: usize = 10_000;
const ROUNDS: usize = 5;
const CLIENTS: [usize; 2] = [16, 32];

/// What a kind of request is called, and the request of a client.
type Kind = (&'static str, Box<dyn Fn(usize) -> LeaseRequest + Send + Sync>);

pub(crate) async fn beside_any(farm: &PostgresFarm, replica: &PostgresFarm, url: &str) -> Result<()> {
    let project = ProjectId::new();
    fill(farm, &project, BOTS).await?;
    let ids: Vec<_> = crate::ids(url, &project).await?;
    let [one, named, sticky, two] = [(); 4].map(|()| project.clone());
    let any = move || Selector::any().project(two.clone()).env(Env::STAGE);
    let kinds: [Kind; 5] = [
        ("any", Box::new(move |_| ask(&one))),
        ("by id", Box::new(move |_| LeaseRequest::new(holder(), Selector::bot(ids[fastrand::usize(..BOTS)])))),
        (
            "by login",
            Box::new(move |_| {
                let login = format!("bot-{}@{named}.example", fastrand::usize(..BOTS));
                let login = Login::try_from(login.as_str()).unwrap_or_else(|_| unreachable!("it is a login"));
                LeaseRequest::new(holder(), Selector::any().login(login))
            }),
        ),
        (
            "sticky",
            Box::new(move |client| {
                let key = format!("client-{client}").parse().unwrap_or_else(|_| unreachable!("it is a key"));
                ask(&sticky).sticky(key)
            }),
        ),
        ("pairs", Box::new(move |_| LeaseRequest::many(holder(), [any(), any()]))),
    ];
    let kinds = std::sync::Arc::new(kinds);
    let (one, two) = (vec![farm.clone()], vec![farm.clone(), replica.clone()]);
    println!("clients  what       one replica/s   of any   two replicas/s   of one");
    for clients in CLIENTS {
        let mut made = vec![(Vec::new(), Vec::new()); kinds.len()];
        for _ in 0..ROUNDS {
            for (kind, (with_one, with_two)) in made.iter_mut().enumerate() {
                for (farms, made) in [(&one, with_one), (&two, with_two)] {
                    tidy(url).await?;
                    let kinds = kinds.clone();
                    made.push(pairs(farms, clients, TIME, move |client| kinds[kind].1(client)).await?);
                }
            }
        }
        let mut any = None;
        for ((name, _), (with_one, with_two)) in kinds.iter().zip(made) {
            let (with_one, with_two) = (median(with_one), median(with_two));
            let any = *any.get_or_insert(with_one);
            println!(
                "{clients:>7}  {name:<9}  {with_one:>13.0}  {:>7.2}  {with_two:>15.0}  {:>7.2}",
                with_one / any,
                with_two / with_one
            );
        }
    }
    Ok(())
}
