//! `bio-bff config`

use crate::config::{AuthArgs, CacheArgs, DatabaseArgs, HttpArgs, shown};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// Also connect, and look at the database's roles.
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    super::out(&shown(&args.database, &args.cache, &args.auth, &args.http));
    let options = args.database.options()?;
    args.auth.providers()?;
    args.auth.secret()?;
    args.http.origins()?;
    args.cache.open()?;
    if args.check {
        let db = crate::store::Db::lazy(options, 1, args.database.database_wait);
        super::serve::check_roles(&db).await?;
        super::out("good");
    }
    Ok(())
}
