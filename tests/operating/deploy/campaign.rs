//! What raises and lowers the autoscaler for a campaign: each job's command, run as its pod would run it. Somebody who notes
//! what is asked stands for the cluster.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use super::documents;

/// What was asked, in lower case, what was sent, and whether the job was content with this answer.
fn run(container: &Value, status: &str) -> (String, Value, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    let cluster = thread::spawn(move || {
        let (mut reader, mut asked) = (BufReader::new(listener.accept().unwrap().0), String::new());
        while reader.read_line(&mut asked).unwrap() > "\r\n".len() {}
        let asked = asked.to_lowercase();
        let length = asked.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut sent = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut sent).unwrap();
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        (asked, serde_json::from_slice(&sent).unwrap())
    });

    let account = tempfile::tempdir().unwrap();
    fs::write(account.path().join("token"), "of-the-account").unwrap();
    let own_account = account.path().to_str().unwrap();
    let words = container["command"].as_array().unwrap().iter().map(|word| {
        let word =
            word.as_str().unwrap().replace("https://kubernetes.default.svc", &format!("http://{address}"));
        word.replace("/var/run/secrets/kubernetes.io/serviceaccount", own_account)
    });
    let words: Vec<_> = words.collect();
    let mut job = Command::new(&words[0]);
    job.args(&words[1..]).env("NAMESPACE", "shop");
    for set in container["env"].as_array().unwrap() {
        if let Some(value) = set["value"].as_str() {
            job.env(set["name"].as_str().unwrap(), value);
        }
    }
    let done = job.output().unwrap();
    // Who asked nothing is not waited for.
    let _ = TcpStream::connect(address);
    let (asked, sent) = cluster.join().unwrap_or_else(|_| panic!("nothing was asked: {done:?}"));
    (asked, sent, done.status.success())
}

#[test]
fn the_jobs_of_a_campaign_change_the_autoscaler_and_may() {
    let scaler = documents("kubernetes/autoscaling.yaml").remove(0);
    let manifests = documents("kubernetes/campaign.yaml");
    let of_kind = |kind: &str| manifests.iter().filter(|is| is["kind"] == kind).collect::<Vec<_>>();
    let [begins, is_over] = of_kind("CronJob")[..] else { panic!("a job before and one after") };
    let (version, name) =
        (scaler["apiVersion"].as_str().unwrap(), scaler["metadata"]["name"].as_str().unwrap());
    let asks = format!("patch /apis/{version}/namespaces/shop/horizontalpodautoscalers/{name} http/1.1\r\n");
    let least = [begins, is_over].map(|job| {
        let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], of_kind("RoleBinding")[0]["subjects"][0]["name"]);
        let container = &pod["containers"][0];
        let (asked, sent, is_content) = run(container, "200 OK");
        assert!(is_content && asked.starts_with(&asks), "{asked}");
        assert!(asked.contains("\r\nauthorization: bearer of-the-account\r\n"), "{asked}");
        assert!(asked.contains("\r\ncontent-type: application/merge-patch+json\r\n"), "{asked}");
        let least = sent["spec"]["minReplicas"].as_u64().unwrap();
        assert_eq!(sent, json!({"spec": {"minReplicas": least}}));
        let (_, _, is_content) = run(container, "403 Forbidden");
        assert!(!is_content, "a job that was refused is tried again");
        least
    });
    let kept = ["minReplicas", "maxReplicas"].map(|key| scaler["spec"][key].as_u64().unwrap());
    assert!(least[1] == kept[0] && least[0] > kept[0] && least[0] <= kept[1], "{least:?} of {kept:?}");

    let rule = &of_kind("Role")[0]["rules"][0];
    let rights =
        [("apiGroups", "autoscaling"), ("resources", "horizontalpodautoscalers"), ("resourceNames", name)];
    for (key, wanted) in rights.into_iter().chain([("verbs", "patch")]) {
        assert!(rule[key].as_array().unwrap().iter().any(|has| has == wanted), "{key} lacks {wanted}");
    }
}
