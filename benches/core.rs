//! How long a review takes, from bytes to bytes, and a change to the mesh.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::struct_field_names, missing_docs)]

#[allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]
mod mesh;

use std::hint::black_box;
use std::time::SystemTime;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use isthmus::admission::{Hook, answer};
use isthmus::review::standing_findings;
use mesh::{Layout, mesh, mesh_of, newcomer, observed, peer, reading, review};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// Reviews of one new member: one that joins, and one that is refused for its subnets.
fn reviews(c: &mut Criterion) {
    let joins = newcomer();
    let mut clashes = joins.clone();
    clashes["metadata"]["annotations"]["isthmus.dev/pod-subnet-cidr"] =
        peer(5, Layout::Flat)["metadata"]["annotations"]["isthmus.dev/pod-subnet-cidr"].clone();
    let shares_defaults = {
        let mut peer = peer(300_000, Layout::Gateways);
        peer["spec"]["enableIngressGateway"] = true.into();
        peer
    };

    for (name, layout, object, allowed) in [
        ("allowed", Layout::Flat, &joins, true),
        ("denied", Layout::Flat, &clashes, false),
        ("warned", Layout::Gateways, &shares_defaults, true),
    ] {
        let mut group = c.benchmark_group(format!("review/{name}"));
        let body = review(object);
        for members in SIZES {
            let mesh = mesh(members, layout);
            let answered = answer(&mesh, Hook::Validate, &body).expect("a review");
            let answered: Value = serde_json::from_slice(&answered.body).expect("JSON");
            assert_eq!(answered["response"]["allowed"], allowed, "{answered}");
            group.bench_function(BenchmarkId::from_parameter(members), |b| {
                b.iter(|| answer(&mesh, Hook::Validate, black_box(&body)));
            });
        }
        group.finish();
    }
    floor(c, &review(&joins));
}

/// What no webhook can be faster than: the bytes parsed into borrowed structs that hold what the
/// review needs, and an allowed response written.
fn floor(c: &mut Criterion, body: &[u8]) {
    #[derive(Deserialize)]
    struct Review<'a> {
        #[serde(borrow)]
        request: Request<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        uid: &'a str,
        #[serde(borrow)]
        kind: Kind<'a>,
        name: &'a str,
        namespace: Option<&'a str>,
        sub_resource: Option<&'a str>,
        operation: &'a str,
        #[serde(borrow)]
        user_info: User<'a>,
        #[serde(borrow)]
        object: Object<'a>,
        #[serde(borrow)]
        old_object: Option<Object<'a>>,
        dry_run: bool,
    }
    #[derive(Deserialize)]
    struct Kind<'a> {
        group: &'a str,
        version: &'a str,
        kind: &'a str,
    }
    #[derive(Deserialize)]
    struct User<'a> {
        username: &'a str,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Object<'a> {
        api_version: &'a str,
        kind: &'a str,
        #[serde(borrow)]
        metadata: Metadata<'a>,
        #[serde(borrow)]
        spec: Spec<'a>,
    }
    #[derive(Deserialize)]
    struct Metadata<'a> {
        name: &'a str,
        #[serde(borrow)]
        annotations: Annotations<'a>,
    }
    #[derive(Deserialize)]
    struct Annotations<'a> {
        #[serde(rename = "isthmus.dev/pod-subnet-cidr")]
        pods: &'a str,
        #[serde(rename = "isthmus.dev/service-subnet-cidr")]
        services: &'a str,
        #[serde(rename = "isthmus.dev/cluster-domain")]
        domain: &'a str,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec<'a> {
        metadata_endpoint: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        api_version: &'a str,
        kind: &'a str,
        response: Response<'a>,
    }
    #[derive(Serialize)]
    struct Response<'a> {
        uid: &'a str,
        allowed: bool,
    }
    c.bench_function("review/floor", |b| {
        b.iter(|| {
            let review: Review<'_> = serde_json::from_slice(black_box(body)).expect("a review");
            let request = &review.request;
            let Kind { group, version, kind } = request.kind;
            black_box((group, version, kind, request.name, request.namespace, request.operation));
            black_box((request.sub_resource, request.user_info.username, request.dry_run));
            for object in [Some(&request.object), request.old_object.as_ref()].into_iter().flatten()
            {
                let Object { api_version, kind, metadata, spec } = object;
                let Annotations { pods, services, domain } = &metadata.annotations;
                black_box((api_version, kind, metadata.name, spec.metadata_endpoint));
                black_box((pods, services, domain));
            }
            let response = Response { uid: request.uid, allowed: true };
            serde_json::to_vec(&Answer {
                api_version: "admission.k8s.io/v1",
                kind: "AdmissionReview",
                response,
            })
        });
    });
}

/// One changed object taken into a mesh.
fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    for (name, layout) in [("flat", Layout::Flat), ("gateways", Layout::Gateways)] {
        for members in [100, 10_000] {
            let mut mesh = mesh(members, layout);
            let settings = mesh.settings().clone();
            let mut turned = peer(50, layout);
            turned["metadata"]["annotations"]["isthmus.dev/pod-subnet-cidr"] =
                "192.168.0.0/24".into();
            let states = [reading(&turned, &settings), reading(&peer(50, layout), &settings)];
            let mut turn = 0;
            group.bench_function(BenchmarkId::new(name, members), |b| {
                b.iter_batched(
                    || {
                        turn += 1;
                        states[turn % 2].clone()
                    },
                    |reading| mesh.apply(reading),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// All that stands wrong with a mesh of a thousand MeshMembers: nothing, everything on one network,
/// and everything behind gateways.
fn standing(c: &mut Criterion) {
    let mut group = c.benchmark_group("standing");
    group.sample_size(10);
    let alike = |n| {
        let mut member = observed(n, Layout::Gateways);
        member["status"]["observed"]["network"]["value"] = "".into();
        member
    };
    for (name, mesh) in [
        ("sound", mesh_of((0..1_000).map(|n| observed(n, Layout::Flat)))),
        ("behind gateways", mesh_of((0..1_000).map(|n| observed(n, Layout::Gateways)))),
        ("all alike", mesh_of((0..1_000).map(alike))),
    ] {
        let names: Vec<_> = mesh.members().iter().map(|member| member.name().clone()).collect();
        assert_eq!(names.len(), 1_001);
        let now = Some(SystemTime::now().into());
        let judged = || -> usize {
            names.iter().map(|name| standing_findings(&mesh, name, now).len()).sum()
        };
        println!("standing/{name}: {} findings", judged());
        group.bench_function(name, |b| b.iter(|| black_box(judged())));
    }
    group.finish();
}

criterion_group!(benches, reviews, apply, standing);
criterion_main!(benches);
