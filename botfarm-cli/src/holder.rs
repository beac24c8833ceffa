//! Who holds: from the flags, or from what the CI service says of its job.

use std::{env, ffi::OsString};

use botfarm_core::{Holder, JobUrl, LeaseRequest, Note, Run};
use clap::Args;

/// The flags that tell others who holds an account.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct HeldBy {
    /// Who holds the account, for others to read [default: the CI job or the test, otherwise you]
    #[arg(long, value_name = "NAME", env = "BOTFARM_HOLDER")]
    holder: Option<Holder>,

    /// What the lease is a part of [default: the run of the CI service, or of cargo-nextest]
    #[arg(long, value_name = "NAME", env = "BOTFARM_RUN")]
    run: Option<Run>,

    /// A remark for others to read
    #[arg(long, value_name = "TEXT")]
    note: Option<Note>,

    /// Where others can look [default: the CI job's page]
    #[arg(long, value_name = "URL")]
    job_url: Option<JobUrl>,
}

impl HeldBy {
    /// Who holds.
    pub(crate) fn holder(&self) -> Holder {
        self.holder.clone().unwrap_or_else(|| Job::found().holder)
    }

    /// The request, with its run, the remark and the job's page.
    pub(crate) fn apply(&self, request: LeaseRequest) -> LeaseRequest {
        let found = Job::found();
        request.with_terms(|terms| {
            terms.run = self.run.clone().or(found.run);
            terms.note.clone_from(&self.note);
            terms.url = self.job_url.clone().or(found.url);
        })
    }
}

/// What botfarm runs in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// Its name.
    pub(crate) holder: Holder,
    /// What it is a part of.
    pub(crate) run: Option<Run>,
    /// Its page.
    pub(crate) url: Option<JobUrl>,
}

impl Job {
    /// Looks at the environment.
    pub(crate) fn found() -> Self {
        Self::from_vars(&|name| env::var_os(name))
    }

    fn from_vars(vars: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let var = |name: &str| vars(name)?.into_string().ok().filter(|value| !value.is_empty());
        let (job, url) = ci(&var);
        let test = var("NEXTEST").and_then(|_| nextest(&var));
        let name = match (test, job) {
            (Some(test), Some(job)) => format!("{test}, {job}"),
            (Some(test), None) => format!("{test}, {}", person(&var)),
            (None, Some(job)) => job,
            (None, None) => person(&var),
        };
        let run = run(&var).and_then(|name| shortened(&name).parse().ok());
        Self { holder: shortened(&name), run, url: url.and_then(|url| url.parse().ok()) }
    }
}

/// The run of the CI service, which all of its jobs share, or that of cargo-nextest.
fn run(var: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if var("GITHUB_ACTIONS").is_some() {
        let attempt = var("GITHUB_RUN_ATTEMPT").unwrap_or_else(|| "1".into());
        return Some(format!("GitHub {} {}/{attempt}", var("GITHUB_REPOSITORY")?, var("GITHUB_RUN_ID")?));
    }
    if var("GITLAB_CI").is_some() {
        return Some(format!("GitLab {} {}", var("CI_PROJECT_PATH")?, var("CI_PIPELINE_ID")?));
    }
    if var("BUILDKITE").is_some() {
        return Some(format!("Buildkite {} {}", var("BUILDKITE_PIPELINE_SLUG")?, var("BUILDKITE_BUILD_NUMBER")?));
    }
    if var("JENKINS_URL").is_some() {
        return Some(format!("Jenkins {} {}", var("JOB_NAME")?, var("BUILD_NUMBER")?));
    }
    var("NEXTEST_RUN_ID").map(|id| format!("nextest {id}"))
}

/// The job of the CI service and its page.
fn ci(var: &dyn Fn(&str) -> Option<String>) -> (Option<String>, Option<String>) {
    let or = |name: &str, default: &str| var(name).unwrap_or_else(|| default.to_owned());
    if var("GITHUB_ACTIONS").is_some() {
        let repository = or("GITHUB_REPOSITORY", "?");
        let job = format!(
            "GitHub {repository} {} #{} {}",
            or("GITHUB_WORKFLOW", "?"),
            or("GITHUB_RUN_NUMBER", "?"),
            or("GITHUB_JOB", "")
        );
        let url = var("GITHUB_RUN_ID").map(|run| {
            let server = or("GITHUB_SERVER_URL", "https://github.com");
            format!("{server}/{repository}/actions/runs/{run}/attempts/{}", or("GITHUB_RUN_ATTEMPT", "1"))
        });
        return (Some(job), url);
    }
    if var("GITLAB_CI").is_some() {
        let job = format!("GitLab {} {} #{}", or("CI_PROJECT_PATH", "?"), or("CI_JOB_NAME", "?"), or("CI_JOB_ID", "?"));
        return (Some(job), var("CI_JOB_URL"));
    }
    if var("BUILDKITE").is_some() {
        let pipeline = or("BUILDKITE_PIPELINE_SLUG", "?");
        let job = format!("Buildkite {pipeline} #{} {}", or("BUILDKITE_BUILD_NUMBER", "?"), or("BUILDKITE_LABEL", ""));
        let page = |build: String| match var("BUILDKITE_JOB_ID") {
            Some(job) => format!("{build}#{job}"),
            None => build,
        };
        return (Some(job), var("BUILDKITE_BUILD_URL").map(page));
    }
    if var("JENKINS_URL").is_some() {
        let job = format!("Jenkins {} #{}", or("JOB_NAME", "?"), or("BUILD_NUMBER", "?"));
        return (Some(job), var("BUILD_URL"));
    }
    (None, None)
}

/// The test that cargo-nextest runs in this process.
fn nextest(var: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let test = var("NEXTEST_TEST_NAME")?;
    let binary = var("NEXTEST_BINARY_ID").map(|binary| binary + " ").unwrap_or_default();
    let attempt = var("NEXTEST_ATTEMPT").filter(|attempt| attempt != "1");
    Some(format!("{binary}{test}{}", attempt.map(|attempt| format!(" try {attempt}")).unwrap_or_default()))
}

/// Whoever sits at the keyboard.
fn person(var: &dyn Fn(&str) -> Option<String>) -> String {
    let name = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| var(name)).unwrap_or_else(|| "somebody".into());
    format!("{name}@{}", rustix::system::uname().nodename().to_string_lossy())
}

/// As much of the name as a holder may have.
fn shortened(name: &str) -> Holder {
    let flat: String = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    flat.parse().unwrap_or_else(|_| Holder::try_from("somebody").expect("a name that can be a holder's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(vars: &[(&str, &str)]) -> (String, Option<String>) {
        let Job { holder, url, .. } = found(vars);
        (holder.into(), url.map(String::from))
    }

    fn found(vars: &[(&str, &str)]) -> Job {
        let value = |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        Job::from_vars(&value)
    }

    #[test]
    fn jobs_of_one_run_share_its_name() {
        let run = |vars: &[(&str, &str)]| found(vars).run.map(String::from);
        let github = |job: &str, attempt: &str| {
            run(&[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_REPOSITORY", "acme/shop"),
                ("GITHUB_RUN_ID", "9001"),
                ("GITHUB_RUN_ATTEMPT", attempt),
                ("GITHUB_JOB", job),
                ("NEXTEST_RUN_ID", "0190"),
            ])
        };
        assert_eq!(github("e2e", "2").as_deref(), Some("GitHub acme/shop 9001/2"));
        assert_eq!(github("e2e", "2"), github("smoke", "2"));
        assert_ne!(github("e2e", "2"), github("e2e", "3"), "another try is another run");
        let gitlab = [("GITLAB_CI", "true"), ("CI_PROJECT_PATH", "acme/shop"), ("CI_PIPELINE_ID", "5")];
        assert_eq!(run(&gitlab).as_deref(), Some("GitLab acme/shop 5"));
        let buildkite = [("BUILDKITE", "true"), ("BUILDKITE_PIPELINE_SLUG", "shop"), ("BUILDKITE_BUILD_NUMBER", "7")];
        assert_eq!(run(&buildkite).as_deref(), Some("Buildkite shop 7"));
        let jenkins = [("JENKINS_URL", "https://jenkins.example.com/"), ("JOB_NAME", "shop"), ("BUILD_NUMBER", "12")];
        assert_eq!(run(&jenkins).as_deref(), Some("Jenkins shop 12"));
        assert_eq!(run(&[("NEXTEST_RUN_ID", "0190")]).as_deref(), Some("nextest 0190"));
        assert_eq!(run(&[("GITHUB_ACTIONS", "true")]), None, "half a name would be shared by strangers");
        assert_eq!(run(&[("USER", "ann")]), None);
    }

    #[test]
    fn a_github_job_is_named_with_its_run() {
        let vars = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.example.com"),
            ("GITHUB_REPOSITORY", "acme/shop"),
            ("GITHUB_WORKFLOW", "End to end"),
            ("GITHUB_RUN_NUMBER", "42"),
            ("GITHUB_RUN_ID", "9001"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_JOB", "e2e"),
        ];
        let url = "https://github.example.com/acme/shop/actions/runs/9001/attempts/2";
        assert_eq!(job(&vars), ("GitHub acme/shop End to end #42 e2e".to_owned(), Some(url.to_owned())));
    }

    #[test]
    fn a_gitlab_job_is_named_with_its_page() {
        let url = "https://gitlab.example.com/acme/shop/-/jobs/77";
        let vars = [
            ("GITLAB_CI", "true"),
            ("CI_PROJECT_PATH", "acme/shop"),
            ("CI_JOB_NAME", "e2e 1/4"),
            ("CI_JOB_ID", "77"),
            ("CI_JOB_URL", url),
        ];
        assert_eq!(job(&vars), ("GitLab acme/shop e2e 1/4 #77".to_owned(), Some(url.to_owned())));
    }

    #[test]
    fn a_buildkite_job_is_named_with_its_page() {
        let vars = [
            ("BUILDKITE", "true"),
            ("BUILDKITE_PIPELINE_SLUG", "shop"),
            ("BUILDKITE_BUILD_NUMBER", "7"),
            ("BUILDKITE_LABEL", ":cypress: e2e"),
            ("BUILDKITE_BUILD_URL", "https://buildkite.com/acme/shop/builds/7"),
            ("BUILDKITE_JOB_ID", "0190"),
        ];
        let url = "https://buildkite.com/acme/shop/builds/7#0190";
        assert_eq!(job(&vars), ("Buildkite shop #7 :cypress: e2e".to_owned(), Some(url.to_owned())));
    }

    #[test]
    fn a_jenkins_build_is_named_with_its_page() {
        let url = "https://jenkins.example.com/job/shop/12/";
        let vars = [
            ("JENKINS_URL", "https://jenkins.example.com/"),
            ("JOB_NAME", "shop"),
            ("BUILD_NUMBER", "12"),
            ("BUILD_URL", url),
        ];
        assert_eq!(job(&vars), ("Jenkins shop #12".to_owned(), Some(url.to_owned())));
    }

    #[test]
    fn a_test_is_named_before_its_job() {
        let test = [
            ("NEXTEST", "1"),
            ("NEXTEST_BINARY_ID", "shop::e2e"),
            ("NEXTEST_TEST_NAME", "checkout::pays"),
            ("NEXTEST_ATTEMPT", "2"),
        ];
        let jenkins = [("JENKINS_URL", "https://jenkins.example.com/"), ("JOB_NAME", "shop"), ("BUILD_NUMBER", "12")];
        assert_eq!(job(&[&test[..], &jenkins].concat()).0, "shop::e2e checkout::pays try 2, Jenkins shop #12");
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_eq!(job(&[&test[..3], &[("USER", "ann")]].concat()).0, format!("shop::e2e checkout::pays, ann@{host}"));
    }

    #[test]
    fn at_home_it_is_the_person() {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_eq!(job(&[("USER", "ann")]), (format!("ann@{host}"), None));
        assert_eq!(job(&[("CI", "true")]), (format!("somebody@{host}"), None));
    }

    #[test]
    fn what_cannot_be_a_holder_is_made_one() {
        let long = "ä".repeat(300);
        assert_eq!(job(&[("JENKINS_URL", "x"), ("JOB_NAME", &long)]).0, format!("Jenkins {}", "ä".repeat(192)));
        assert_eq!(
            job(&[("JENKINS_URL", "x"), ("JOB_NAME", "a\nb"), ("BUILD_URL", "ftp://x")]),
            ("Jenkins a b #?".into(), None)
        );
    }
}
