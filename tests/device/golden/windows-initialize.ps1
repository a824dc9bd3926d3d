
function Say([string] $name, [string] $encoded) { [Console]::Out.Write("$nonce $name $encoded`n") }
function Tell([string] $name, [string] $text) {
  Say $name ([Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($text)))
}
function Read-Value { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($stdin.ReadLine())) }
function Get-Unix([DateTime] $time) { ([DateTimeOffset] $time).ToUnixTimeSeconds() }
function Get-Kind([string] $path) {
  try { $attributes = [IO.File]::GetAttributes($path) }
  catch {
    $base = $_.Exception.GetBaseException()
    if ($base -is [IO.FileNotFoundException] -or $base -is [IO.DirectoryNotFoundException]) { return 'absent' }
    return 'other'
  }
  if ($attributes -band [IO.FileAttributes]::ReparsePoint) { return 'symlink' }
  if ($attributes -band [IO.FileAttributes]::Directory) { return 'other' }
  'file'
}
function Get-Sha256([byte[]] $bytes) {
  # Not SHA256.Create: that one throws where Windows only allows what is certified for FIPS.
  $sha = New-Object Security.Cryptography.SHA256CryptoServiceProvider
  ([BitConverter]::ToString($sha.ComputeHash($bytes)) -replace '-', '').ToLowerInvariant()
}
function Get-FileSha256([string] $path) {
  $bytes = [IO.File]::ReadAllBytes($path)
  Get-Sha256 $bytes
}
function Test-Admin {
  $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
  $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Invoke-Alone([scriptblock] $change) {
  # What another operator began goes on when that one is gone. The lock ends with the process that has it.
  $lock = New-Object Threading.Mutex($false, 'Global\edgeherd')
  try { $free = $lock.WaitOne(0) }
  catch [Threading.AbandonedMutexException] { $free = $true }
  if (-not $free) { return 'changed' }
  try { & $change } finally { $lock.ReleaseMutex() }
}

function Invoke-Initialize {
  if (-not (Test-Admin)) { return 'unwritable' }
  $path = Join-Path $env:ProgramData 'iotedge\config.yaml'
  if ((Get-Kind $path) -ne 'absent') { return 'changed' }
  # Windows' own default forbids every script. What an administrator has set stays.
  try {
    if ((Get-ExecutionPolicy) -eq 'Restricted') {
      Set-ExecutionPolicy -ExecutionPolicy RemoteSigned -Scope Process -Force
    }
  } catch { }
  # No text of an error may leave: it could hold the key.
  try {
    if ($setup) { . $setup *> $null } else { Import-Module -Name IoTEdge *> $null }
    # 'Manual' is what the switch was called before 1.0.10, and an alias since.
    $parameters = @{ Manual = $true; DeviceConnectionString = $secret; ContainerOs = $os }
    Initialize-IoTEdge @parameters *> $null
  } catch { }
  if ((Get-Kind $path) -eq 'file') { 'applied' } else { 'refused' }
}
$word = 'incomplete'
try {
  $secret = Read-Value
  $os = Read-Value
  $setup = Read-Value
  if ($secret -and $os) { $word = Invoke-Alone { Invoke-Initialize } | Select-Object -Last 1 }
} catch { }
Tell 'result' $word
