//! `bio-bff config`

use crate::clock::Clock;
use crate::config::{AuthArgs, CacheArgs, DatabaseArgs, HttpArgs, ScanArgs, shown};

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
    #[command(flatten)]
    scans: ScanArgs,
    /// Also connect, and look at the database's roles.
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    super::out(&shown(&args.database, &args.cache, &args.auth, &args.http))?;
    super::out(&args.scans.shown())?;
    let options = args.database.options()?;
    args.auth.providers()?;
    args.auth.secret()?;
    args.http.origins()?;
    let cache = args.cache.open()?;
    let db = crate::store::Db::lazy(options, 1, args.database.database_wait);
    args.scans.hooks()?;
    args.scans.open(&db, &cache, &Clock::default()).await?;
    if args.check {
        super::serve::check_roles(&db).await?;
        super::out("good")?;
    }
    Ok(())
}
