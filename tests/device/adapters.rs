//! Choosing an adapter, also on a machine without any.

use std::process::Command;

use wgrad::gpu::AdapterKind;
use wgrad::{Error, Gpu};

use crate::{assert_error, assert_trains, gpu};

#[test]
fn the_best_adapter_is_found_and_trains() {
    let gpu = gpu();
    assert!(gpu.description().contains(&gpu.info().name));
    assert_eq!(Gpu::adapters()[0].name, gpu.info().name);
    assert_trains(&gpu);
}

#[test]
fn with_bounds_checks_it_trains_too() {
    assert_trains(&Gpu::builder().bounds_checks().build().unwrap());
}

#[test]
fn an_adapter_is_found_by_a_part_of_its_name_in_any_case() {
    let name = gpu().info().name.clone();
    let part = name.split(' ').next().unwrap().to_uppercase();
    let found = Gpu::builder().name(part).build().unwrap();
    assert_eq!(found.info().name, name);
}

#[test]
fn a_name_that_no_adapter_has_is_an_error_that_lists_them() {
    let error = Gpu::builder().name("no such adapter").build().unwrap_err();
    for info in Gpu::adapters() {
        assert!(error.to_string().contains(&info.name), "{error}");
    }
    assert_error!(error, ["no such adapter", "adapters present", "Choose one of these"],
        Error::NoAdapter { wanted, found }
            if wanted.contains("no such adapter") && found.len() == Gpu::adapters().len());
}

#[test]
fn software_is_no_hardware() {
    match Gpu::builder().hardware_only().build() {
        Ok(gpu) => assert_eq!(gpu.kind(), AdapterKind::Hardware),
        Err(error) => {
            assert!(
                Gpu::adapters()
                    .iter()
                    .all(|info| info.device_type == wgrad::wgpu::DeviceType::Cpu)
            );
            assert_error!(error, ["hardware"], Error::NoAdapter { .. });
        }
    }
}

/// The environment variable that tells the child process that it must find no driver.
const WITHOUT_DRIVER: &str = "WGRAD_TEST_WITHOUT_DRIVER";

/// The part of the next test that runs in a child process. Does nothing when it runs as an ordinary test.
#[test]
fn child_without_a_driver() {
    if std::env::var_os(WITHOUT_DRIVER).is_none() {
        return;
    }
    assert!(Gpu::adapters().is_empty(), "{:?}", Gpu::adapters());
    let error = Gpu::new().unwrap_err();
    assert_error!(error, ["any adapter", "present: none", "Install the driver", "mesa-vulkan-drivers"],
        Error::NoAdapter { found, .. } if found.is_empty());
    println!("no driver, as it should be");
}

/// Environment variables hide all drivers from the Vulkan loader. They must not affect other tests, so this test needs
/// a separate process.
#[test]
#[cfg(target_os = "linux")]
fn without_any_driver_the_error_says_what_to_install() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "adapters::child_without_a_driver", "--nocapture"])
        .env(WITHOUT_DRIVER, "1")
        .env("VK_DRIVER_FILES", "/nonexistent/driver.json")
        .env("VK_ICD_FILENAMES", "/nonexistent/driver.json")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{output}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(output.contains("no driver, as it should be"), "{output}");
}
